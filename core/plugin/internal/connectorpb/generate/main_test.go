package main

import (
	"bytes"
	"os"
	"testing"
)

func TestGenerate_IsUpToDate(t *testing.T) {
	want, err := generate("../../../connector.proto")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../connector.pb.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("connector.pb.go is not what connector.proto says: run go generate ./core/plugin/...")
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
