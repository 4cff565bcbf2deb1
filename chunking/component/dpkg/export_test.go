package dpkg

// Changes is for tests.
var Changes = changes
