package main

import (
	"bytes"
	"os"
	"testing"
)

func TestGenerate_IsUpToDate(t *testing.T) {
	for proto, code := range map[string]string{
		"../../../connector.proto":                                "../connector.pb.go",
		"../../../../../plugins/salesforce/pubsubpb/pubsub.proto": "../../../../../plugins/salesforce/pubsubpb/pubsub.pb.go",
	} {
		want, err := generate(proto)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(code)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what %s says: run go generate ./core/plugin/... ./plugins/...", code, proto)
		}
	}
}

func TestGenerate_SaysWhereTheProtoIsWrong(t *testing.T) {
	path := t.TempDir() + "/x.proto"
	if err := os.WriteFile(path, []byte("syntax = \"proto3\";\nmessage X { Y y = 1; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, err := generate(path); err == nil {
		t.Errorf("got %d bytes of code and no error", len(code))
	}
}
