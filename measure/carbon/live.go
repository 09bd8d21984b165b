package carbon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Client asks the live intensity services. It is used only where the user asks for it, never blocks longer than its
// time-outs, and never replaces a factor silently: what it returns says when, from where, and how old it is. The
// zero value works for services that need no key.
type Client struct {
	HTTP    *http.Client     // default: 10 s per attempt, redirects refused (they would carry the key elsewhere)
	Base    string           // replaces the service's own address, for tests and proxies
	Key     string           // from the user's environment; never in errors, cache names or results
	User    string           // WattTime only, with Key as the password
	Dir     string           // cache folder; "" = no cache
	TTL     time.Duration    // age up to which the cache answers; default 15 minutes
	Retries int              // further attempts on 429 and 5xx; default 2
	Backoff time.Duration    // before the first retry, doubled each time; default 1 s
	Now     func() time.Time // default time.Now
}

// Point is the intensity from From on, up to To where that is known.
type Point struct {
	From, To  time.Time
	Intensity measure.Intensity
	Forecast  bool
	Estimated bool // the service filled it in
	// Lo, Hi and Covered are those of a figure that is weighed from a mix (see MixIntensity); 0 of others.
	Lo, Hi  measure.Intensity
	Covered float64
}

// Series is what a service answered.
type Series struct {
	Zone    string
	Source  string
	Basis   string // average or marginal; lifecycle or direct; consumption or production
	Points  []Point
	Mixes   []Mix     // what the points were weighed from, as it came; of eia and entsoe only
	Notes   []string  // what a reader must know of these figures
	Fetched time.Time // when the answer was given
	Stale   bool      // the service did not answer; this is the last answer, older than TTL
}

// ErrLive is wrapped by every failure of a live service.
var ErrLive = errors.New("carbon: live intensity")

// maxBody bounds the answer of a service.
const maxBody = 4 << 20

// cached is one file of the cache.
type cached struct {
	Fetched time.Time `json:"fetched"`
	Body    []byte    `json:"body"`
}

// answer is a body with its age.
type answer struct {
	body    []byte
	fetched time.Time
	stale   bool
}

func (c Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// get fetches address (without secrets) with extra query parameters and headers that hold them.
func (c Client) get(ctx context.Context, address string, secret url.Values, header http.Header) (answer, error) {
	ttl := c.TTL
	if ttl <= 0 {
		ttl = 15 * time.Minute
	}
	old, have := c.load(address)
	if have && c.now().Sub(old.Fetched) < ttl && !c.now().Before(old.Fetched) {
		return answer{body: old.Body, fetched: old.Fetched}, nil
	}
	body, err := c.fetch(ctx, address, secret, header)
	if err != nil {
		if have && ctx.Err() == nil {
			return answer{body: old.Body, fetched: old.Fetched, stale: true}, nil
		}
		return answer{}, fmt.Errorf("%w: %s: %s", ErrLive, address, c.redact(err.Error()))
	}
	a := answer{body: body, fetched: c.now()}
	c.store(address, cached{a.fetched, body})
	return a, nil
}

// redact removes the secrets from a text.
func (c Client) redact(s string) string {
	for _, k := range []string{c.Key, url.QueryEscape(c.Key), c.User} {
		if k != "" {
			s = strings.ReplaceAll(s, k, "***")
		}
	}
	return s
}

// fetch tries, and tries again on 429 and on server errors.
func (c Client) fetch(ctx context.Context, address string, secret url.Values, header http.Header) ([]byte, error) {
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirect refused") }
	retries, wait := c.Retries, c.Backoff
	if retries == 0 {
		retries = 2
	}
	if wait <= 0 {
		wait = time.Second
	}
	for try := 0; ; try++ {
		body, again, after, err := once(ctx, &own, address, secret, header)
		if err == nil || !again || try >= retries {
			return body, err
		}
		timer := time.NewTimer(min(max(wait<<try, after), 30*time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// once makes one request. again tells whether another attempt may help, after how long the service wants to wait.
func once(ctx context.Context, client *http.Client, address string, secret url.Values, header http.Header) (body []byte, again bool, after time.Duration, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, false, 0, err
	}
	q := u.Query()
	for k, v := range secret {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, false, 0, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, ctx.Err() == nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, true, 0, err
	case len(body) > maxBody:
		return nil, false, 0, fmt.Errorf("answer of more than %d bytes", maxBody)
	case resp.StatusCode == http.StatusOK:
		return body, false, 0, nil
	}
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		after = time.Duration(s) * time.Second
	}
	again = resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
	return nil, again, after, fmt.Errorf("%s: %.200q", resp.Status, body)
}

func (c Client) file(address string) string {
	sum := sha256.Sum256([]byte(address + "\n" + c.User))
	return filepath.Join(c.Dir, hex.EncodeToString(sum[:16])+".json")
}

func (c Client) load(address string) (cached, bool) {
	var e cached
	if c.Dir == "" {
		return e, false
	}
	b, err := os.ReadFile(c.file(address))
	if err != nil || json.Unmarshal(b, &e) != nil {
		return cached{}, false
	}
	return e, true
}

// store writes the cache; a cache that cannot be written only costs the next request.
func (c Client) store(address string, e cached) {
	if c.Dir == "" {
		return
	}
	b, err := json.Marshal(e)
	if err != nil || os.MkdirAll(c.Dir, 0o700) != nil {
		return
	}
	tmp, err := os.CreateTemp(c.Dir, "new-*")
	if err != nil {
		return
	}
	_, werr := tmp.Write(b)
	if errors.Join(werr, tmp.Close()) != nil || os.Rename(tmp.Name(), c.file(address)) != nil {
		_ = os.Remove(tmp.Name())
	}
}

// series parses an answer and stamps it.
func (a answer) series(parse func([]byte) (Series, error)) (Series, error) {
	s, err := parse(a.body)
	if err != nil {
		return Series{}, fmt.Errorf("%w: %w", ErrLive, err)
	}
	s.Fetched, s.Stale = a.fetched, a.stale
	return s, nil
}

func (c Client) base(own string) string {
	if c.Base != "" {
		return strings.TrimSuffix(c.Base, "/")
	}
	return own
}

// At returns the point that covers t, or an error: the newest figure is never stretched over a time that it
// was not given for.
func (s Series) At(t time.Time) (Point, error) {
	for _, p := range s.Points {
		if !t.Before(p.From) && (t.Before(p.To) || p.To.IsZero() && t.Sub(p.From) < time.Hour) {
			return p, nil
		}
	}
	return Point{}, fmt.Errorf("%w: %s has no figure for %s", ErrLive, s.Source, t.UTC().Format(time.RFC3339))
}
