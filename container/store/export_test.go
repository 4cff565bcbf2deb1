package store

// ImageRef is imageRef for tests.
var ImageRef = imageRef
