"""Files from elsewhere, checked byte by byte before any library reads them. numpy and the standard library only."""
