"""How the data sets are brought to one scale, and how much each counts, where crops are drawn from all."""

SHRINK = {
    "brca_m2c": (1.0, 1.25),
    "ocdc": (1.0, 1.25),
    "osteosarcoma": (1.0, 1.6),
    "brecahad": (1.8, 3.4),
    "breakhis400": (2.5, 5.0),
}
"""Area-shrink factors that bring a data set to 0.25 - 0.5 micrometres per pixel, and its camera's
softness or its JPEG noise out of the way. Others stay as they are."""

SHARE = {"brca_m2c": 5.0, "ocdc": 1.2, "osteosarcoma": 1.4, "brecahad": 2.0, "breakhis400": 1.0}
"""Weights among the crops: the 20x scanner counts most, the 10x one (1 micrometre, JPEG 75) less."""
