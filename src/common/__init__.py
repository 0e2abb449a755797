"""What all packages share: paths and files, names, progress, and the device."""
