package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/wabridge/wabridge/core/table"
)

// local is the bundler's namespace of the files that were handed to the worker.
const local = "local"

var exportItem = regexp.MustCompile(`^\s*([\w$]+)(?: as ([\w$]+))?,?$`)

// bundler makes one plain script of an author's modules. Nothing is read from
// disk.
type bundler struct {
	src Source

	mu      sync.Mutex
	tables  []*tableModule // the bundler reads files in parallel
	phrases *phraseBook
}

// bundle returns the script, its source map, and the exported names of its entry
// with their local ones.
func (b *bundler) bundle() (code string, mapping []byte, exports map[string]string, err error) {
	built := api.Build(api.BuildOptions{
		EntryPoints:    []string{b.src.Name},
		Bundle:         true,
		Format:         api.FormatESModule,
		Target:         api.ES2020,
		TreeShaking:    api.TreeShakingFalse,
		Charset:        api.CharsetUTF8,
		LegalComments:  api.LegalCommentsNone,
		Sourcemap:      api.SourceMapExternal,
		SourcesContent: api.SourcesContentExclude,
		Outfile:        "out.js",
		Metafile:       true,
		Plugins:        []api.Plugin{{Name: "own files", Setup: b.setup}},
		LogLevel:       api.LogLevelSilent,
		LogLimit:       10,
	})
	if err := buildErrors(built.Errors); err != nil {
		return "", nil, nil, err
	}
	for _, f := range built.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			mapping = f.Contents
		} else {
			code = string(f.Contents)
		}
	}
	var meta struct {
		Inputs  map[string]struct{ Format string }
		Outputs map[string]struct{ Exports []string }
	}
	if err := json.Unmarshal([]byte(built.Metafile), &meta); err != nil {
		return "", nil, nil, fmt.Errorf("%s: %w", b.src.Name, err)
	}
	for name, in := range meta.Inputs {
		if ext := path.Ext(name); in.Format == "cjs" && (ext == ".js" || ext == ".ts") {
			return "", nil, nil, fmt.Errorf("%s: there is no require, module or exports here: write export function onMessage(event, context) { … }", authors(name))
		}
	}
	exports = map[string]string{}
	for _, out := range meta.Outputs {
		if len(out.Exports) == 0 {
			continue
		}
		// The bundler ends a module with its one export clause.
		at := strings.LastIndex(code, "\nexport {")
		if at < 0 {
			return "", nil, nil, fmt.Errorf("%s: exports cannot be found", b.src.Name)
		}
		clause := code[at+len("\nexport {"):]
		code = code[:at]
		for line := range strings.Lines(clause) {
			if m := exportItem.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
				if m[2] == "" {
					m[2] = m[1]
				}
				exports[m[2]] = m[1]
			}
		}
	}
	return code, mapping, exports, nil
}

// setup gives the bundler the files that there are, and no others.
func (b *bundler) setup(build api.PluginBuild) {
	build.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
		if args.Kind == api.ResolveEntryPoint {
			return api.OnResolveResult{Path: b.src.Name, Namespace: local}, nil
		}
		if args.Kind != api.ResolveJSImportStatement {
			return api.OnResolveResult{}, fmt.Errorf("import of %s: write import … from \"./file\" at the top of the file", quote(args.Path))
		}
		name, err := b.src.resolve(args.Importer, args.Path)
		if err != nil {
			return api.OnResolveResult{}, fmt.Errorf("import of %s: %w", quote(args.Path), err)
		}
		return api.OnResolveResult{Path: name, Namespace: local}, nil
	})
	build.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: local}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
		text := string(b.src.file(args.Path))
		result := api.OnLoadResult{Contents: &text}
		switch path.Ext(args.Path) {
		case ".ts":
			result.Loader = api.LoaderTS
		case ".js":
			result.Loader = api.LoaderJS
		case ".json":
			result.Loader = api.LoaderJSON
		default:
			if !table.Is(args.Path) {
				return api.OnLoadResult{}, errors.New("no module")
			}
			rows, kind, err := readRows(args.Path, []byte(text))
			host, n := 0, 0
			switch {
			case err != nil:
			case kind == phrasesColumn && rows != nil:
				host = hostPhrases
				n, err = b.addPhrases(args.Path, rows)
			case kind == exampleColumn:
				host = hostExamples
				n, err = b.addExamples(args.Path, rows)
			}
			if err != nil {
				return api.OnLoadResult{Errors: tableErrors(err)}, nil
			}
			if host != 0 {
				text = fmt.Sprintf("export default event => host(%d, %d, event);", host, n)
				result.Loader = api.LoaderJS
				return result, nil
			}
			t, err := newTableModule(args.Path, []byte(text))
			if err != nil {
				return api.OnLoadResult{Errors: tableErrors(err)}, nil
			}
			text = fmt.Sprintf("export default (event, context) => host(%d, %d, event, context);", hostTable, b.add(t))
			result.Loader = api.LoaderJS
		}
		return result, nil
	})
}

// authors is what the author calls a file that the bundler names.
func authors(name string) string { return strings.TrimPrefix(name, local+":") }

// buildErrors joins the first few messages. What is the matter in several places alike,
// as with a table that all of them read, is said once, and of no place.
func buildErrors(messages []api.Message) error {
	places := map[string]int{}
	for _, m := range messages {
		places[m.Text]++
	}
	var all []error
	said := map[string]bool{}
	for _, m := range messages {
		if said[m.Text] {
			continue
		}
		if len(all) == 3 {
			all = append(all, fmt.Errorf("and %d more", len(places)-len(said)))
			break
		}
		said[m.Text] = true
		where := ""
		if l := m.Location; l != nil && places[m.Text] == 1 {
			where = fmt.Sprintf("%s:%d:%d: ", authors(l.File), l.Line, l.Column+1)
		}
		all = append(all, errors.New(where+strings.ReplaceAll(m.Text, `"`+local+":", `"`)))
	}
	return errors.Join(all...)
}
