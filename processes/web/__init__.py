"""HTTP: pygeoapi's application with the views that the standard and the contract want."""
