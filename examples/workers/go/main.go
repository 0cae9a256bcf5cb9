// Tasks over HTTP in Go: each task is a POST, the answer is its end.
//
//	handler: {http: {port: 8080, path: /tasks}}
//
// 200 and the result: done. 503: try again later. 422: no retry can help.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

func say(control, what, body string) {
	answer, err := http.Post(control+"/"+what, "application/json", strings.NewReader(body))
	if err != nil {
		log.Print(err)
		return
	}
	answer.Body.Close()
}

func countWords(texts []string, control string) map[string]int {
	counts := map[string]int{}
	for done, text := range texts {
		for _, word := range strings.Fields(text) {
			counts[word]++
		}
		say(control, "progress", fmt.Sprintf(`{"done": %d, "of": %d}`, done+1, len(texts)))
	}
	return counts
}

func tasks(w http.ResponseWriter, r *http.Request) {
	if kind := r.Header.Get("ce-type"); r.Method == http.MethodPost && kind != "count-words" {
		http.Error(w, "no task of type "+kind+" is known here", http.StatusUnprocessableEntity)
		return
	}
	var texts []string
	if err := json.NewDecoder(r.Body).Decode(&texts); r.Method == http.MethodPost && err != nil {
		http.Error(w, "the payload is a list of texts: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	json.NewEncoder(w).Encode(countWords(texts, r.Header.Get("ce-control")))
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/tasks", tasks)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
