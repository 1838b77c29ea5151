// Package sdk runs clients that others wrote against the imitations of the vendors:
// the vendors' own, and for WhatsApp, where the vendor has none that is kept, four of its
// users'. What an integrator would try first must work as it does at the vendor, errors
// included. The clients come from npm, pinned in package-lock.json; there is one script
// for each vendor. No part of the bridge takes part, but its webhook: what the imitation
// of WhatsApp tells, it takes, and so do webhook servers that others wrote. One of them,
// whatsapp-api-js, knows signatures of escaped Unicode only; those of plain UTF-8 are for
// the others.
package sdk
