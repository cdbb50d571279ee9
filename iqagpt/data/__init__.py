"""Images for the pipeline: reading and pairing DICOM series, phantoms, dose, lesions, splitting."""
