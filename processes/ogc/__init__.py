"""OGC API - Processes as data: descriptions, requests, results, problems and processes. No Flask, no pygeoapi."""
