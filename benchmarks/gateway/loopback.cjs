// Portkey's gateway listens on every address; loaded before it, this has it listen on loopback only.
const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (where, ...more) {
  const options = typeof where === "object" ? where : { port: where };
  return listen.call(this, { ...options, host: "127.0.0.1" }, ...more.filter((one) => typeof one === "function"));
};
