// Preloaded (`node -r`) into servers that listen on every interface and cannot be told otherwise: they get loopback.
'use strict'

const { Server } = require('node:net')

const listen = Server.prototype.listen

Server.prototype.listen = function (...wanted) {
  const [first] = wanted
  const options = typeof first === 'object' && first !== null ? first : { port: Number(first) }
  if (options.port === undefined || Number.isNaN(options.port)) {
    return listen.apply(this, wanted) // A path or a descriptor, which nobody else can reach.
  }
  const told = wanted.filter((argument) => typeof argument === 'function')
  return listen.call(this, { ...options, host: '127.0.0.1' }, ...told)
}
