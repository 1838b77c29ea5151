package declare

// ProjectName is the file that tells an editor how to read a script's folder.
const ProjectName = "tsconfig.json"

// Project returns one for folders that have none. JavaScript is checked, too, and
// there is nothing of a browser or of Node, as where scripts run.
func Project() []byte {
	return []byte(`{
  "compilerOptions": {
    "target": "es2022",
    "lib": ["es2022"],
    "types": [],
    "module": "esnext",
    "moduleResolution": "bundler",
    "resolveJsonModule": true,
    "allowImportingTsExtensions": true,
    "allowJs": true,
    "checkJs": true,
    "strict": false,
    "noEmit": true
  }
}
`)
}
