"""The bytes on disk: columns, rows, images and the files that describe them."""
