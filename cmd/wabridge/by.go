package main

import (
	"cmp"
	"os"
	"os/user"

	"github.com/urfave/cli/v2"
)

// byFlag says who does what is kept with their name; does is a word for it.
func byFlag(does string) *cli.StringFlag {
	return &cli.StringFlag{Name: "by", Usage: "`WHO` " + does + "; your name on this machine unless given", Value: operator()}
}

// operator is what this machine calls whoever runs the program, "" if it does not know:
// services and containers often have no USER.
func operator() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = cmp.Or(name, u.Username)
	}
	return name
}
