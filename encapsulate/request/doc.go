// Package request defines what a user can ask for when an image is made: the options with their names, the rules
// about which of them go together, and the plan of the image. The command line and the BuildKit frontend both use it,
// and so make the same images.
//
// The command line and the frontend are called doors here. A door sets options with [Options.Set]. It calls
// [Options.Check] before it opens anything, with what it knows about the input. When the input is open,
// [Options.Resolve] sets the format and checks again, and [Options.Plan] plans the image. The door opens references
// and files itself. An [*Error] has the names of options, which each door spells in its own way.
package request
