// Package sdk runs the vendors' own clients against the imitations of the vendors:
// what an integrator would try first must work as it does at the vendor, errors
// included. The clients come from npm, pinned in package-lock.json; there is one
// script for each, and no part of the bridge takes part.
package sdk
