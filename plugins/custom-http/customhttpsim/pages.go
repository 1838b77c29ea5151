package customhttpsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// maxPage is how many rows a page has at most.
const maxPage = 100

// page is the part of a list that is asked for.
type page struct {
	query         url.Values
	limit, offset int
}

// pageOf reads which page is asked for, in whichever way the caller likes: limit, and
// page, offset or cursor. Other parameters are refused, but for those named.
func pageOf(c *call, others ...string) (page, *refusal) {
	at := page{query: c.r.URL.Query()}
	for name := range at.query {
		if !slices.Contains([]string{"limit", "page", "offset", "cursor", "api_key"}, name) && !slices.Contains(others, name) {
			return at, refuse(http.StatusBadRequest, "unknown_parameter", "%s is no parameter", name)
		}
	}
	number := func(name string, otherwise, least, most int) (int, *refusal) {
		text := at.query.Get(name)
		if text == "" {
			return otherwise, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, refuse(http.StatusBadRequest, "bad_parameter", "%s is %q", name, text)
		}
		return n, nil
	}
	var err *refusal
	if at.limit, err = number("limit", 20, 1, maxPage); err != nil {
		return at, err
	}
	n, err := number("page", 1, 1, 1<<20)
	if err != nil {
		return at, err
	}
	if at.offset, err = number("offset", (n-1)*at.limit, 0, 1<<20); err != nil {
		return at, err
	}
	if text := at.query.Get("cursor"); text != "" {
		if _, scanErr := fmt.Sscanf(text, "after-%d", &at.offset); scanErr != nil {
			return at, refuse(http.StatusBadRequest, "bad_parameter", "no such cursor")
		}
	}
	return at, nil
}

// answerPage answers with a page of what was found. The next one is told in each way:
// next_cursor, next_url, and the header Link.
func answerPage[R any](c *call, at page, found []R) map[string]any {
	end := min(len(found), at.offset+at.limit)
	rows := append([]R{}, found[min(at.offset, len(found)):end]...)
	answer := map[string]any{"data": rows, "total": len(found)}
	if end < len(found) {
		next := at.query
		next.Del("page")
		next.Del("cursor")
		next.Del("api_key")
		next.Set("limit", strconv.Itoa(at.limit))
		next.Set("offset", strconv.Itoa(end))
		address := c.r.URL.EscapedPath() + "?" + next.Encode()
		answer["next_cursor"], answer["next_url"] = fmt.Sprintf("after-%d", end), address
		c.w.Header().Set("Link", `<`+c.r.URL.EscapedPath()+`?first>; rel="first", <`+address+`>; rel="next"`)
	}
	return answer
}
