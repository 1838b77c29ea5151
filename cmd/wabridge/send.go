package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/whatsapp"
)

func sendCommand() *cli.Command {
	return &cli.Command{
		Name: "send", Usage: "send a message through the running bridge",
		Description: "Prints the id of the message: `wabridge why ID` tells what became of it.\n\n" +
			"Examples:\n   wabridge send --to +15550100123 --text \"Your order is on its way.\"\n" +
			"   wabridge send --to +15550100123 --template hello_world --language en_US --key order-17 --wait 10s\n" +
			"   wabridge send --to +15550100123 --text \"Hello, Maria here.\" --author human --by maria\n" +
			"   wabridge send --to +15550100123 --media invoice.pdf --caption \"Your invoice\"\n" +
			"   wabridge send --to +15550100123 --template invoice --param Ana --media invoice.pdf",
		Flags: []cli.Flag{
			configFlag, setFlag, urlFlag, jsonFlag,
			&cli.StringFlag{Name: "to", Required: true, Usage: "the `ADDRESS`: +<country><number>, or a BSUID such as US.13491208655302741918"},
			&cli.StringFlag{Name: "text", Usage: "the `TEXT`; people get it within 24 hours after they last wrote"},
			&cli.StringFlag{Name: "media", Usage: "a `FILE`: a picture, a document, audio, a video or a sticker, by its type; with --template the file of its header"},
			&cli.StringFlag{Name: "caption", Usage: "the `TEXT` below the file"},
			&cli.StringFlag{Name: "filename", Usage: "the `NAME` that the file is shown by; its own when not given"},
			&cli.StringFlag{Name: "template", Usage: "the `NAME` of an approved template"},
			&cli.StringFlag{Name: "language", Value: "en_US", Usage: "the template's `LANGUAGE`"},
			&cli.StringSliceFlag{Name: "param", Usage: "the `TEXT` of the template's next variable; may be given again"},
			&cli.StringSliceFlag{Name: "named", Usage: "a variable of the template by its name, as `NAME=TEXT`; may be given again"},
			&cli.StringFlag{Name: "values", Usage: "what else the template is given, as `JSON` with header, buttons, cards or offer_ends"},
			&cli.StringFlag{Name: "components", Usage: "the template's components, as the Cloud API's `JSON`"},
			&cli.StringFlag{Name: "tenant", Usage: "`WHO` writes; not needed when there is one tenant"},
			&cli.StringFlag{Name: "number", Usage: "the phone number `ID` to write from; not needed when the tenant has one"},
			&cli.StringFlag{Name: "author", Usage: "`WHO` wrote it: human, so that the bot keeps silent (policy.human_for), or bot"},
			&cli.StringFlag{Name: "by", Usage: "the `NAME` of who wrote it"},
			&cli.StringFlag{Name: "class", Usage: "`WHAT` it is: a reply, a transaction or a campaign, which go in this order when not all can go at once"},
			&cli.StringFlag{Name: "key", Usage: "the `KEY` that makes repeating this command harmless; random when not given"},
			&cli.DurationFlag{Name: "wait", Usage: "wait so `LONG` for WhatsApp's answer"},
		},
		Action: send,
	}
}

func send(c *cli.Context) error {
	m, err := messageOf(c)
	if err != nil {
		return err
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	cl := newClient(c, cfg)
	if name := c.String("media"); name != "" {
		if err := putFile(c, cl, name, &m); err != nil {
			return err
		}
	}
	key := c.String("key")
	if key == "" {
		key = rand.Text()
	}
	var receipt broker.SendReceipt
	err = cl.call(c.Context, request{
		method: http.MethodPost, path: "/api/v1/messages", key: key,
		body: broker.SendRequest{
			Tenant: c.String("tenant"), Number: c.String("number"), Author: c.String("author"), By: c.String("by"), Class: core.Class(c.String("class")), Message: m,
		},
	}, &receipt)
	if err != nil {
		return err
	}
	out := struct {
		broker.SendReceipt
		Outcome string `json:"outcome,omitempty"`
		Ref     string `json:"ref,omitempty"`
	}{SendReceipt: receipt}
	var failed error
	if wait := c.Duration("wait"); wait > 0 {
		var last broker.Step
		last, err = awaitSend(c, cl, receipt.ID, wait)
		if err != nil {
			return err
		}
		out.Outcome, out.Ref = last.Step, last.Ref
		switch {
		case last.Error != nil:
			failed = &exitError{code: exitRefused, message: last.Error.Error(), hint: last.Error.Hint, err: last.Error}
		case last.Step == "":
			failed = fail(exitUnreachable, "send: WhatsApp has not answered after %s; wabridge why %s tells when it has", wait, receipt.ID)
		}
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, out)
		return failed
	}
	switch {
	case receipt.Duplicate:
		fmt.Fprintf(c.App.Writer, "%s was accepted before with this key: nothing is sent again\n", receipt.ID)
	case out.Ref != "":
		fmt.Fprintf(c.App.Writer, "%s sent: %s\n", receipt.ID, printable(out.Ref))
	default:
		fmt.Fprintf(c.App.Writer, "%s accepted\n", receipt.ID)
	}
	return failed
}

// messageOf makes the message that the flags describe.
func messageOf(c *cli.Context) (core.Message, error) {
	m := core.Message{Direction: core.Outbound}
	if c.NArg() > 0 {
		return m, misused("send: %q is no flag: texts of several words go in quotes", c.Args().First())
	}
	if a := c.String("author"); a != "" && a != core.AuthorHuman && a != "bot" {
		return m, misused("--author: %q is neither human nor bot", a)
	}
	if class := core.Class(c.String("class")); class != "" && class.Validate() != nil {
		return m, misused("--class: %q is neither reply, transaction nor campaign", class)
	}
	to, err := core.ParseAddress(c.String("to"))
	if err != nil {
		return m, misused("--to: %w", err)
	}
	m.To = to
	text, template, file := c.String("text"), c.String("template"), c.String("media")
	given := 0
	for _, what := range []string{text, template, file} {
		if what != "" {
			given++
		}
	}
	if template != "" && file != "" {
		given-- // the file is the template's header
	}
	switch {
	case given != 1:
		return m, misused("send: want one of --text, --template and --media, or a --template with --media for its header")
	case file == "" && (c.String("caption") != "" || c.String("filename") != ""):
		return m, misused("send: --caption and --filename go with --media")
	case template != "" && c.String("caption") != "":
		return m, misused("send: a template's file has no --caption")
	case file != "" && template == "":
		m.Text = c.String("caption")
		return m, nil
	case text != "":
		m.Type, m.Text = core.TypeText, text
		return m, nil
	}
	m.Type = core.TypeTemplate
	m.Template, err = templateOf(c, template)
	return m, err
}

// putFile puts a file to the bridge, and into the message.
func putFile(c *cli.Context, cl *client, path string, m *core.Message) error {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return misused("--media: %w", err)
	}
	defer func() { _ = file.Close() }()
	name := c.String("filename")
	if name == "" {
		name = filepath.Base(path)
	}
	var f broker.MediaFile
	err = cl.call(c.Context, request{
		method: http.MethodPost, path: mediaPath, query: values("tenant", c.String("tenant"), "filename", name), file: file,
	}, &f)
	if err != nil {
		return err
	}
	m.Media = &core.Media{Hash: f.Hash, Filename: name}
	if m.Template == nil {
		m.Type = whatsapp.FileMessage(f.Type)
	}
	return nil
}

// templateOf makes the template that the flags describe.
func templateOf(c *cli.Context, name string) (*core.Template, error) {
	short := map[string]any{}
	if values := c.String("values"); values != "" {
		if err := json.Unmarshal([]byte(values), &short); err != nil {
			return nil, misused("--values: no JSON object: %w", err)
		}
	}
	named := map[string]string{}
	for _, pair := range c.StringSlice("named") {
		key, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, misused("--named: %q is not like NAME=TEXT", pair)
		}
		named[key] = text
	}
	switch list := c.StringSlice("param"); {
	case len(list) > 0 && len(named) > 0:
		return nil, misused("send: either --param or --named: WhatsApp's templates count their variables, or name them")
	case len(list) > 0:
		short["params"] = list
	case len(named) > 0:
		short["params"] = named
	}
	short["name"], short["language"] = name, c.String("language")
	data, err := json.Marshal(short)
	if err != nil {
		return nil, misused("--values: %w", err)
	}
	t := new(core.Template)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, misused("send: %w", err)
	}
	if components := c.String("components"); components != "" {
		if !json.Valid([]byte(components)) {
			return nil, misused("--components: not JSON")
		}
		t.Components = json.RawMessage(components)
	}
	return t, nil
}

// awaitSend waits until a send has ended one way or the other, and returns the
// step that ended it: the zero Step when the time was up before.
func awaitSend(c *cli.Context, l looker, id string, wait time.Duration) (broker.Step, error) {
	ctx, cancel := context.WithTimeout(c.Context, wait)
	defer cancel()
	bar := newProgress(c.App.ErrWriter)
	defer bar.done()
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		story, err := l.Why(ctx, "", id)
		if err != nil && ctx.Err() == nil && exitCode(err) != exitNotFound {
			return broker.Step{}, err
		}
		for _, s := range story.Steps {
			if s.Kind != core.KindMessageSend {
				continue
			}
			switch s.Step {
			case "delivered", "dead", "held", "settled":
				return s, nil
			}
		}
		select {
		case <-ctx.Done():
			return broker.Step{}, c.Context.Err()
		case <-tick.C:
			bar.say("waiting for WhatsApp, %s …", span(time.Since(began)))
		}
	}
}
