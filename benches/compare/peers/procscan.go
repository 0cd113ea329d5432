// procscan WORD N: the same scan as Go programs write it. Prints the median in microseconds.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

func main() {
	word := os.Args[1]
	n, _ := strconv.Atoi(os.Args[2])
	var t []float64
	found := 0
	for i := 0; i < n; i++ {
		s := time.Now()
		found = 0
		d, _ := os.Open("/proc")
		names, _ := d.Readdirnames(-1)
		d.Close()
		for _, p := range names {
			if p[0] < '1' || p[0] > '9' {
				continue
			}
			b, err := os.ReadFile("/proc/" + p + "/cmdline")
			if err == nil && strings.Contains(string(b), word) {
				found++
			}
		}
		t = append(t, float64(time.Since(s).Nanoseconds())/1e3)
	}
	sort.Float64s(t)
	fmt.Printf("{\"us\": %.1f, \"found\": %d}\n", t[n/2], found)
}
