// Package mapping says what a CRM's properties have to do with what the bridge knows
// of a person: which field goes to which property, in which form, and whose value
// counts when both sides have changed it. A [Table] is one lane's mapping. It asks
// nobody and stores nothing: the broker evaluates it for each event, so that
// connectors need not know that there is one.
//
// # Fields
//
// See [Fields]. What the bridge finds out itself (a number, when a person last
// wrote) goes to the CRM only. What both sides may know (an e-mail address, a city)
// is kept among the contact's fields, under the same names, where scripts see it:
// setField("email", …). "fields.NAME" is any other field of scripts.
//
// # Both ways
//
// For each property the bridge remembers what both sides last had ([Agreed]). What a
// CRM tells that is just that is no news, and what the bridge has that is just that
// is not written: so echoes end, and a value that somebody is changing at the CRM is
// not overwritten by an old one. Only when both have another value is there a
// conflict, and the rule says whose counts:
//
//   - newest: who changed it last. A value without a time (a guess, or one from before
//     there was a mapping) is the oldest.
//   - crm: the CRM's. The bridge fills what the CRM said is empty, and until the CRM
//     has said anything it writes nothing.
//   - whatsapp: the bridge's. The CRM fills what the bridge does not know.
//
// Who wins is written to the other side. Tags have no winner: what either side added
// is added, what either took away is taken away. Consent has none either: it changes
// by the rules of consent, whoever says so.
package mapping
