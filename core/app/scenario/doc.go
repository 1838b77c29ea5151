// Package scenario lets customers write to a whole bridge while everything around
// it misbehaves, and then compares what each CRM has with what the bridge has
// recorded, field by field. All connectors pass the same scenario: each is behind a
// driver that starts its CRM's imitation and reads it back in one normal form. It
// has tests only: see `make scenario`.
package scenario
