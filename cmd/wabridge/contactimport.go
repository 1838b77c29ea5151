package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/roster"
)

func contactImportCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "take people over from a spreadsheet (CSV)", ArgsUsage: "FILE.csv", Action: importContacts,
		Description: "Says what is wrong with the list, who is in it twice, who is known already, and what would change. Nothing\n" +
			"changes without --apply. The same list again changes nothing; after an interruption, import it again.\n\n" +
			"Columns are found by their headers: name (or first and last name), phone (several, or several in a cell with |\n" +
			"between), bsuid, email, language, tags, field:<name>, consent (yes or no), consent_source, consent_evidence,\n" +
			"consent_at. Consent is taken with source and evidence only, and from nobody who opted out.\n\n" +
			"Examples:\n   wabridge contact import people.csv --rejects wrong.csv\n" +
			"   wabridge contact import people.csv --map \"Handy=phone\" --map \"Ort=field:city\" --apply",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "apply", Usage: "do it"},
			&cli.StringSliceFlag{Name: "map", Usage: "what a column is, as `COLUMN=FIELD`; - leaves it out; may be repeated"},
			&cli.StringFlag{Name: "rejects", Usage: "write the rows that are not taken to this `FILE`, with the reason"},
			&cli.StringFlag{Name: "encoding", Usage: "of the file, if it is not UTF-8 or UTF-16: `windows-1252`"},
			&cli.StringFlag{Name: "consent-source", Usage: "where the consent is `FROM`, if no column says so"},
			&cli.StringFlag{Name: "consent-evidence", Usage: "the `TEXT` that shows it, if no column does"},
			&cli.BoolFlag{Name: "no-crm", Usage: "do not tell the CRMs"},
			byFlag("imports"),
			tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

const (
	maxImportBytes = 180 << 10 // of a request
	maxNoted       = 100_000   // lines of one kind that a report names
	shownNotes     = 20        // of these to a person
)

// lineNote is what is said of one line of a list.
type lineNote struct {
	Line    int    `json:"line"`
	Contact string `json:"contact,omitempty"`
	Note    string `json:"note"`
}

// noted are the notes of one kind: all are counted, many are kept.
type noted struct {
	Count int        `json:"count"`
	Lines []lineNote `json:"lines,omitempty"`
}

func (n *noted) add(line int, contact, note string) {
	if n.Count++; n.Count <= maxNoted {
		n.Lines = append(n.Lines, lineNote{line, contact, note})
	}
}

// importReport is what an import says.
type importReport struct {
	File string `json:"file"`
	Rows int    `json:"rows"`
	// Applied says that it was done; Compared that the list was compared with the
	// contacts there are.
	Applied  bool     `json:"applied"`
	Compared bool     `json:"compared"`
	Ignored  []string `json:"ignored_columns,omitempty"`
	New      int      `json:"new"`
	Same     int      `json:"same"`
	// Changed are people who are known already, and what is new about them.
	Changed noted `json:"changed"`
	// Duplicates are rows about somebody of an earlier row, and are taken together.
	Duplicates noted `json:"duplicates"`
	// Rejected and Conflicts are not taken.
	Rejected  noted `json:"rejected"`
	Conflicts noted `json:"conflicts"`
	Warnings  noted `json:"warnings"`
}

// importer takes one list over.
type importer struct {
	c       *cli.Context
	cl      *client
	path    string
	request broker.ImportRequest
	options roster.Options
	maps    map[string]string
	bar     *progress
	rep     importReport
	rejects *roster.Writer
}

func importContacts(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("contact import: want one FILE.csv")
	}
	if c.String("by") == "" {
		return misused("contact import: --by is needed: it is kept with what changes")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	im := &importer{c: c, cl: newClient(c, cfg), path: c.Args().First(), maps: map[string]string{}, bar: newProgress(c.App.ErrWriter)}
	im.request = broker.ImportRequest{By: c.String("by"), File: filepath.Base(im.path), Quiet: c.Bool("no-crm")}
	if im.request.Tenant, err = theTenant(c); err != nil {
		return err
	}
	im.options = roster.Options{Source: c.String("consent-source"), Evidence: c.String("consent-evidence"), Now: time.Now()}
	for _, t := range cfg.Tenants {
		if t.ID == im.request.Tenant {
			im.options.Region = t.Region
		}
	}
	for _, m := range c.StringSlice("map") {
		i := strings.LastIndex(m, "=")
		if i < 1 || i == len(m)-1 {
			return misused("--map %s: want COLUMN=FIELD, like --map Handy=phone", m)
		}
		im.maps[m[:i]] = m[i+1:]
	}
	if im.request.Run, err = fingerprint(im.path, im.request.Tenant); err != nil {
		return err
	}
	if err := im.look(); err != nil {
		return err
	}
	if !c.Bool("apply") {
		im.print()
		return nil
	}
	im.request.Apply = true
	im.rep = importReport{}
	err = im.pass(im.send)
	im.bar.done()
	if err != nil {
		return fmt.Errorf("after %d rows: %w; import the list again to go on", im.rep.Rows, err)
	}
	im.rep.Applied = true
	im.print()
	return nil
}

// fingerprint names a list by what is in it.
func fingerprint(path, tenant string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fail(exitNotFound, "contact import: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	fmt.Fprintln(h, tenant)
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}

// look makes the report, and writes the rows that are not taken.
func (im *importer) look() error {
	send := im.send
	if path := im.c.String("rejects"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if im.rejects, err = roster.NewWriter(f); err != nil {
			return err
		}
	}
	err := im.pass(send)
	if exitCode(err) == exitUnreachable && !im.c.Bool("apply") {
		fmt.Fprintln(im.c.App.ErrWriter, "no bridge answers at", im.cl.base+": the list is not compared with the contacts there are")
		im.rep = importReport{}
		err = im.pass(nil)
	}
	im.bar.done()
	if im.rejects != nil {
		err = errors.Join(err, im.rejects.Flush())
		im.rejects = nil
	}
	return err
}

// pass reads the list once, and hands its people to send in batches.
func (im *importer) pass(send func([]json.RawMessage, map[int]roster.Row) error) error {
	f, err := os.Open(im.path)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := roster.NewReader(f, im.c.String("encoding"))
	if err != nil {
		return fail(exitConfig, "%s: %w", im.path, err)
	}
	cols, err := roster.FindColumns(in.Header.Cells, im.maps)
	if err != nil {
		return &exitError{code: exitConfig, message: im.path + ": " + err.Error(), hint: hintOf(err), err: err}
	}
	im.rep.File, im.rep.Ignored, im.rep.Compared = filepath.Base(im.path), cols.Ignored(in.Header.Cells), send != nil
	if im.rejects != nil {
		if err := im.rejects.Write(append([]string{"line", "reason"}, in.Header.Cells...)); err != nil {
			return err
		}
	}
	var batch []json.RawMessage
	rows, size := map[int]roster.Row{}, 0
	flush := func() error {
		if len(batch) == 0 || send == nil {
			return nil
		}
		err := send(batch, rows)
		batch, size = batch[:0], 0
		clear(rows)
		im.bar.say("%d rows …", im.rep.Rows)
		return err
	}
	var twice roster.Twice
	for {
		row, err := in.Next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return fail(exitConfig, "%s: %w", im.path, err)
		}
		im.rep.Rows++
		p, bad := cols.Read(row, im.options)
		if bad != "" {
			im.rep.Rejected.add(row.Line, "", bad)
			if err := im.reject(row, bad); err != nil {
				return err
			}
			continue
		}
		for _, w := range p.Warnings {
			im.rep.Warnings.add(row.Line, "", w)
		}
		line, why, conflict := twice.Seen(&p)
		switch {
		case conflict:
			im.rep.Conflicts.add(row.Line, "", why)
			if err := im.reject(row, why); err != nil {
				return err
			}
			continue
		case line != 0:
			im.rep.Duplicates.add(row.Line, "", why)
		}
		data, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if len(batch) == broker.MaxImport || size+len(data) > maxImportBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		if send != nil {
			batch, size = append(batch, data), size+len(data)+1
			if im.rejects != nil {
				rows[row.Line] = row
			}
		}
	}
}

func (im *importer) reject(row roster.Row, why string) error {
	if im.rejects == nil {
		return nil
	}
	return im.rejects.Write(append([]string{fmt.Sprint(row.Line), why}, row.Cells...))
}

// send asks the bridge about a batch, or to take it over. It waits while the bridge
// says that it has too much to do.
func (im *importer) send(people []json.RawMessage, rows map[int]roster.Row) error {
	body := struct {
		broker.ImportRequest
		People []json.RawMessage `json:"people"`
	}{im.request, people}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var answer broker.ImportReport
	for {
		answer = broker.ImportReport{}
		err := im.cl.call(im.c.Context, request{method: http.MethodPost, path: contactsPath + "/import", body: body}, &answer)
		if err != nil {
			return err
		}
		if answer.Wait == "" {
			break
		}
		im.bar.say("%d rows; waits: %s", im.rep.Rows, answer.Wait)
		select {
		case <-tick.C:
		case <-im.c.Context.Done():
			return im.c.Context.Err()
		}
	}
	for _, p := range answer.People {
		note := strings.Join(p.Notes, "; ")
		switch p.Outcome {
		case broker.ImportNew:
			im.rep.New++
			if strings.Contains(note, "not taken") {
				im.rep.Warnings.add(p.Line, p.Contact, note)
			}
		case broker.ImportSame:
			im.rep.Same++
			if note != "" {
				im.rep.Warnings.add(p.Line, p.Contact, note)
			}
		case broker.ImportConflict:
			im.rep.Conflicts.add(p.Line, "", note)
			if err := im.reject(rows[p.Line], note); err != nil {
				return err
			}
		default:
			im.rep.Changed.add(p.Line, p.Contact, note)
		}
	}
	return nil
}

func (im *importer) print() {
	w, r := im.c.App.Writer, &im.rep
	if im.c.Bool("json") {
		printJSON(w, r)
		return
	}
	fmt.Fprintf(w, "%s: %d rows\n", printable(r.File), r.Rows)
	for _, h := range r.Ignored {
		fmt.Fprintf(w, "the column %q is not taken: say what it is with --map %q=field:<name>\n", h, h)
	}
	show := func(n noted, what string) {
		if n.Count == 0 {
			return
		}
		fmt.Fprintf(w, "\n%d %s\n", n.Count, what)
		for _, l := range n.Lines[:min(len(n.Lines), shownNotes)] {
			fmt.Fprintf(w, "  line %d: %s\n", l.Line, strings.TrimSpace(printable(l.Contact+" "+l.Note)))
		}
		if n.Count > shownNotes {
			fmt.Fprintf(w, "  … and %d more: see --json\n", n.Count-shownNotes)
		}
	}
	show(r.Rejected, "rows are wrong, and not taken")
	show(r.Conflicts, "rows contradict what is known, and are not taken")
	show(r.Duplicates, "rows are about somebody of an earlier row, and taken together with it")
	show(r.Warnings, "things are not taken, or worth a look")
	show(r.Changed, map[bool]string{true: "people were known, and are changed", false: "people are known, and would be changed"}[r.Applied])
	fmt.Fprintln(w)
	switch {
	case r.Applied:
		fmt.Fprintf(w, "imported: %d new, %d changed, %d as they were\n", r.New, r.Changed.Count, r.Same)
	case !r.Compared:
		fmt.Fprintln(w, "nothing was changed, and nothing compared")
	default:
		fmt.Fprintf(w, "%d would be new, %d changed, %d are as they are. Nothing was changed: say --apply\n", r.New, r.Changed.Count, r.Same)
	}
}
