// Package contact knows who an address belongs to, as far as an address can say:
// it reads phone numbers as people write them, tells which ways of writing one
// number are the same number, and where in the world it is.
//
// Three things that look alike are kept apart, each with a type of its own: what
// somebody wrote ([Phone.Raw]), what two numbers are compared by ([Key]), and
// where a message is sent ([core.Address]). WhatsApp's own spelling of a number
// is sent back to it unchanged, whatever the number is compared by.
//
// The package is pure: no I/O, no state.
package contact
