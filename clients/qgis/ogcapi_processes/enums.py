"""Names of QGIS's that changed places in 3.36; the old ones go with Qt 5."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsProcessing,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
)

if Qgis.QGIS_VERSION_INT >= 33600:
    ADVANCED = Qgis.ProcessingParameterFlag.Advanced
    ANY_VECTOR = Qgis.ProcessingSourceType.Vector
    RASTER = Qgis.ProcessingSourceType.Raster
    FILES = Qgis.ProcessingSourceType.File
    WHOLE = Qgis.ProcessingNumberParameterType.Integer
    REAL = Qgis.ProcessingNumberParameterType.Double
    DATE_TIME = Qgis.ProcessingDateTimeParameterDataType.DateTime
else:
    ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    ANY_VECTOR = QgsProcessing.SourceType.TypeVector
    RASTER = QgsProcessing.SourceType.TypeRaster
    FILES = QgsProcessing.SourceType.TypeFile
    WHOLE = QgsProcessingParameterNumber.Type.Integer
    REAL = QgsProcessingParameterNumber.Type.Double
    DATE_TIME = QgsProcessingParameterDateTime.Type.DateTime
