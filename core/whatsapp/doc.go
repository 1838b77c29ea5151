// Package whatsapp speaks Meta's WhatsApp Cloud API.
//
// Inbound, a [Webhook] verifies what Meta posts and [Parse] turns it into
// events: one per message, status and other change, whatever its shape. Outbound,
// a [Client] makes a [core.Sink] of each business number, whose Deliver says of
// each send that it was made, was not made, or that nobody knows.
//
// The rules come from Meta's pages "Webhooks", "Messages", "Business-scoped user
// IDs" and "Error codes" below
// https://developers.facebook.com/documentation/business-messaging/whatsapp/.
package whatsapp
