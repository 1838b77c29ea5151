// Package pubsubpb is the wire of Salesforce's Pub/Sub API: the messages are
// generated. The connector and the imitation speak it.
package pubsubpb

//go:generate go run ../../../core/plugin/internal/connectorpb/generate pubsub.proto pubsub.pb.go

// The calls, by their full names, and the service's name.
const (
	Service   = "eventbus.v1.PubSub"
	Subscribe = "/" + Service + "/Subscribe"
	GetSchema = "/" + Service + "/GetSchema"
)
