package dpkg

// Changes exports changes for tests.
var Changes = changes
