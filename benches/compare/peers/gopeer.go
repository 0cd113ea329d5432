// gopeer: the same small jobs in Go (net/http, os/exec, creack/pty, gorilla/websocket).
// Subcommands: supervise CMD | console PORT CMD | proxy PORT UPSTREAM WS_UPSTREAM | serve PORT (status from $STATUS_JSON)
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/gorilla/websocket"
)

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func supervise(cmd []string) {
	for {
		_ = exec.Command(cmd[0], cmd[1:]...).Run()
	}
}

func console(port string, cmd []string) {
	master, err := pty.Start(exec.Command(cmd[0], cmd[1:]...))
	die(err)
	var mu sync.Mutex
	clients := map[chan []byte]bool{}
	up := websocket.Upgrader{ReadBufferSize: 4096, WriteBufferSize: 65536}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		ch := make(chan []byte, 64)
		mu.Lock()
		clients[ch] = true
		mu.Unlock()
		go func() {
			for b := range ch {
				if c.WriteMessage(websocket.BinaryMessage, b) != nil {
					return
				}
			}
		}()
		for {
			_, m, err := c.ReadMessage()
			if err != nil {
				return
			}
			_, _ = master.Write(m)
		}
	})
	go func() { die(http.ListenAndServe("127.0.0.1:"+port, nil)) }()
	buf := make([]byte, 65536)
	for {
		n, err := master.Read(buf)
		if n > 0 {
			b := append([]byte(nil), buf[:n]...)
			mu.Lock()
			for c := range clients {
				c <- b
			}
			mu.Unlock()
		}
		if err != nil {
			time.Sleep(300 * time.Millisecond)
			return
		}
	}
}

func serve(port string) {
	status := map[string]any{}
	die(json.Unmarshal([]byte(os.Getenv("STATUS_JSON")), &status))
	http.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status)
	})
	die(http.ListenAndServe("127.0.0.1:"+port, nil))
}

func proxy(port, to, ws string) {
	tr := &http.Transport{MaxIdleConnsPerHost: 256}
	mk := func(host string) http.Handler {
		p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
		p.Transport = tr
		return p
	}
	m := http.NewServeMux()
	m.Handle("/", mk(to))
	m.Handle("/ws", mk(ws))
	die(http.ListenAndServe("127.0.0.1:"+port, m))
}

func main() {
	a := os.Args[1:]
	switch a[0] {
	case "supervise":
		supervise(a[1:])
	case "console":
		console(a[1], a[2:])
	case "proxy":
		proxy(a[1], a[2], a[3])
	case "serve":
		serve(a[1])
	}
}
