// express: GET /status from $STATUS_JSON. node serve.js PORT
const express = require("express");
const status = JSON.parse(process.env.STATUS_JSON || "{}");
const app = express();
app.get("/status", (q, r) => r.json(status));
app.listen(+process.argv[2], "127.0.0.1");
