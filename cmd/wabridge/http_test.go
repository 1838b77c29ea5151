package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// headers collects -H flags.
type headers []string

func (h *headers) String() string { return strings.Join(*h, ", ") }

func (h *headers) Set(s string) error { *h = append(*h, s); return nil }

// httpMain is the scripts' HTTP client:
//
//	http [-H 'Name: value'] [-sign SECRET] [-size BYTES] [-until REGEXP] METHOD URL [FILE]
//
// It prints the status and the body. With -sign the body is signed as Meta signs
// webhooks; @NOW@ in the file is the time; with -size the body is that long. With -until it asks again until what it
// prints matches.
func httpMain() {
	var hs headers
	flag.Var(&hs, "H", "header")
	sign := flag.String("sign", "", "app secret")
	size := flag.Int("size", 0, "bytes")
	match := flag.String("until", "", "regular expression")
	flag.Parse()
	var body []byte
	if flag.NArg() > 2 {
		var err error
		if body, err = os.ReadFile(flag.Arg(2)); err != nil {
			die(err)
		}
	}
	body = bytes.ReplaceAll(body, []byte("@NOW@"), []byte(strconv.FormatInt(time.Now().Unix(), 10)))
	if *size > 0 {
		body = bytes.Repeat([]byte(" "), *size)
	}
	pattern := regexp.MustCompile("(?s)" + *match)
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var answer string
	err := until(func() error {
		req, err := http.NewRequest(flag.Arg(0), flag.Arg(1), bytes.NewReader(body))
		if err != nil {
			die(err)
		}
		for _, h := range hs {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		if *sign != "" {
			mac := hmac.New(sha256.New, []byte(*sign))
			_, _ = mac.Write(body)
			req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		}
		resp, err := client.Do(req)
		if err != nil {
			if *match == "" {
				die(err)
			}
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		answer = fmt.Sprintf("%d\n%s\n", resp.StatusCode, data)
		if !pattern.MatchString(answer) {
			return fmt.Errorf("no match for %s in: %s", *match, answer)
		}
		return nil
	})
	if err != nil {
		die(err)
	}
	fmt.Print(answer)
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "http:", err)
	os.Exit(1)
}
