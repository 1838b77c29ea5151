package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

const mediaPath = "/api/v1/media"

func mediaCommand() *cli.Command {
	common := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	return &cli.Command{
		Name: "media", Usage: "the files of messages", Action: group("media"),
		Description: "Examples:\n   wabridge media list --contact +34600111222\n   wabridge media get wamid.HBgLMzQ2MDAxMTEyMjIVAgASGBQz --out invoice.pdf",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "which there are, and how they are", Action: listMedia,
				Description: "Examples:\n   wabridge media list\n   wabridge media list --contact +34600111222 --json",
				Flags: append([]cli.Flag{
					&cli.StringFlag{Name: "contact", Usage: "of this `CONTACT` only: an ID, or an address such as +34600111222"},
					&cli.IntFlag{Name: "limit", Value: 100, Usage: "at most so `MANY`"},
				}, common...),
			},
			{
				Name: "put", Usage: "keep a file for messages to be sent with, and print its hash, by which they name it", ArgsUsage: "FILE", Action: putMedia,
				Description: "Example:\n   wabridge media put bread.jpg",
				Flags:       append([]cli.Flag{&cli.StringFlag{Name: "filename", Usage: "the `NAME` that people see, if not the file's own"}}, common...),
			},
			{Name: "show", Usage: "the file of a message", ArgsUsage: "MESSAGE", Action: showMedia, Flags: common,
				Description: "Example:\n   wabridge media show wamid.HBgLMzQ2MDAxMTEyMjIVAgASGBQz"},
			{
				Name: "get", Usage: "write the file of a message to a file", ArgsUsage: "MESSAGE", Action: getMedia,
				Description: "Example:\n   wabridge media get wamid.HBgLMzQ2MDAxMTEyMjIVAgASGBQz --out invoice.pdf",
				Flags:       append([]cli.Flag{&cli.StringFlag{Name: "out", Required: true, Usage: "the `FILE` to write, which must not exist; - is standard output"}}, common...),
			},
			{Name: "sweep", Usage: "remove files that nobody has to do with any more; it is done by itself, too", Action: sweepMedia, Flags: common,
				Description: "Example:\n   wabridge media sweep"},
		},
	}
}

func listMedia(c *cli.Context) error {
	most := c.Int("limit")
	if c.NArg() > 0 || most < 1 {
		return misused("media list: want no arguments, and --limit of at least 1")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	all := []broker.MediaFile{}
	for after := ""; ; {
		var page broker.MediaPage
		err := callBridge(c, request{method: http.MethodGet, path: mediaPath, query: values(
			"tenant", tenant, "contact", c.String("contact"), "after", after, "limit", fmt.Sprint(min(most-len(all), 500)))}, &page)
		if err != nil {
			return err
		}
		all = append(all, page.Media...)
		if after = page.Next; after == "" || len(all) >= most {
			break
		}
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	t := newTable(c.App.Writer, "MESSAGE", "STATE", "TYPE", "BYTES", "WHEN", "CONTACT", "NAME")
	for _, f := range all {
		t.row(f.Message, f.State, f.Type, f.Size, ago(f.Time), f.Contact, f.Filename)
	}
	t.flush()
	return nil
}

// mediaOf asks for the file of the message that the command names.
func mediaOf(c *cli.Context) (broker.MediaFile, error) {
	var f broker.MediaFile
	if c.NArg() != 1 {
		return f, misused("%s: want one message, by its id (wamid)", c.Command.FullName())
	}
	tenant, err := theTenant(c)
	if err != nil {
		return f, err
	}
	err = callBridge(c, request{method: http.MethodGet, path: mediaPath + "/" + url.PathEscape(c.Args().First()), query: values("tenant", tenant)}, &f)
	return f, err
}

func putMedia(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("%s: want one FILE", c.Command.FullName())
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	path := c.Args().First()
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return misused("media put: %w", err)
	}
	defer func() { _ = file.Close() }()
	var f broker.MediaFile
	err = callBridge(c, request{
		method: http.MethodPost, path: mediaPath, query: values("tenant", tenant, "filename", cmp.Or(c.String("filename"), filepath.Base(path))), file: file,
	}, &f)
	switch {
	case err != nil:
		return err
	case c.Bool("json"):
		printJSON(c.App.Writer, f)
	default:
		fmt.Fprintln(c.App.Writer, f.Hash)
	}
	return nil
}

func showMedia(c *cli.Context) error {
	f, err := mediaOf(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, f)
		return nil
	}
	for _, line := range [][2]string{
		{"state", f.State}, {"why", f.Why}, {"type", f.Type}, {"looks like", f.Looks}, {"name", f.Filename}, {"SHA-256", f.Hash},
		{"contact", f.Contact}, {"written", f.Time.Format(time.RFC3339)}, {"kept until", f.Until.Format(time.DateOnly)}, {"link", f.Link},
	} {
		if line[1] != "" {
			fmt.Fprintf(c.App.Writer, "%-11s %s\n", line[0], printable(line[1]))
		}
	}
	return nil
}

func getMedia(c *cli.Context) (err error) {
	f, err := mediaOf(c)
	if err != nil {
		return err
	}
	link, perr := url.Parse(f.Link)
	if f.Link == "" || perr != nil {
		return &exitError{code: exitRefused, message: "media get: the file is " + f.State, hint: f.Why}
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	out := io.WriteCloser(nopCloser{c.App.Writer})
	if name := c.String("out"); name != "-" {
		if out, err = os.OpenFile(filepath.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return misused("--out: %w", err)
		}
	}
	n, err := newClient(c, cfg).download(c.Context, link.RequestURI(), out)
	if err = errors.Join(err, out.Close()); err != nil {
		return fail(exitUnreachable, "media get: %w", err)
	}
	if c.String("out") == "-" {
		return nil
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, f)
		return nil
	}
	fmt.Fprintf(c.App.Writer, "%s: %d bytes\n", printable(c.String("out")), n)
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// download writes what is at a path, which is not JSON, to w.
func (cl *client) download(ctx context.Context, path string, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cl.base+path, nil)
	if err != nil {
		return 0, err
	}
	files := &http.Client{Transport: cl.http.Transport, Timeout: fileTimeout}
	resp, err := files.Do(req)
	if err != nil {
		return 0, errors.New(short(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the bridge answered %s", resp.Status)
	}
	return io.Copy(w, resp.Body)
}

func sweepMedia(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("media sweep: want no arguments")
	}
	var swept broker.MediaSweep
	if err := callBridge(c, request{method: http.MethodPost, path: "/api/v1/media-sweep", query: values("tenant", c.String("tenant"))}, &swept); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, swept)
		return nil
	}
	fmt.Fprintf(c.App.Writer, "%d files removed, %d bytes\n", swept.Files, swept.Bytes)
	return nil
}
