"""Files of bundles, checked byte by byte before a library reads them. numpy and the standard library only."""
