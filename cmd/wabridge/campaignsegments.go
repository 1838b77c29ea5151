package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

func segmentsCommand(flags []cli.Flag) *cli.Command {
	return &cli.Command{
		Name: "segments", Usage: "list the CRM's segments, to whose members a campaign may go", ArgsUsage: "[TEXT]", Action: listSegments,
		Description: "TEXT is a part of their names, in any case, or an id. What a CRM calls a segment (a list, a view,\n" +
			"a campaign) its connector's page says. The CRM is asked now.\n\n" +
			"Examples:\n   wabridge campaign segments\n   wabridge campaign segments --lane hubspot spring",
		Flags: slices.Concat([]cli.Flag{&cli.StringFlag{Name: "lane", Usage: "the `LANE` of the CRM, where several have segments"}}, flags),
	}
}

func listSegments(c *cli.Context) error {
	if c.NArg() > 1 {
		return misused("campaign segments: want one TEXT, or none")
	}
	var got broker.SegmentList
	err := callBridge(c, request{method: http.MethodGet, path: "/api/v1/segments",
		query: values("tenant", c.String("tenant"), "lane", c.String("lane"), "name", c.Args().First())}, &got)
	if err != nil {
		return err
	}
	w := c.App.Writer
	switch {
	case c.Bool("json"):
		printJSON(w, got)
		return nil
	case len(got.Segments) == 0 && c.NArg() > 0:
		fmt.Fprintln(w, printable(fmt.Sprintf("%s has no segment with %q in its name", got.Lane, c.Args().First())))
		return nil
	case len(got.Segments) == 0:
		fmt.Fprintln(w, got.Lane, "has no segments")
		return nil
	}
	t := newTable(w, "ID", "NAME", "KIND", "SIZE")
	for _, s := range got.Segments {
		size := "-"
		if s.Size > 0 {
			size = fmt.Sprint(s.Size)
		}
		t.row(s.ID, s.Name, cmp.Or(s.Kind, "-"), size)
	}
	t.flush()
	if got.More {
		fmt.Fprintln(w, "there are more: a part of the name finds them")
	}
	return nil
}
