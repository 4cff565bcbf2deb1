// Package request is what a user may ask for when an image is made: the options by their names, the rules of what goes
// together, and the plan of opened inputs. The command line and BuildKit's frontend make the same images because both ask
// here.
//
// A door sets options by [Options.Set] and calls [Options.Check] before it opens anything, with what it knows of the input.
// When the input is open, [Options.Resolve] settles the format and checks once more, and [Options.Plan] plans the image.
// Opening references and files is the door's business. An [*Error] names options, which each door spells in its own way.
package request
