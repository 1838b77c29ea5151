package plugin

import (
	_ "embed"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

//go:embed connector.proto
var contractSource []byte

// Contract returns connector.proto, and its compiled form (a FileDescriptorProto),
// from which languages that can do without generated code make its messages.
func Contract() (source, descriptor []byte, err error) {
	descriptor, err = proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(connectorpb.File_connector_proto))
	return contractSource, descriptor, err
}
