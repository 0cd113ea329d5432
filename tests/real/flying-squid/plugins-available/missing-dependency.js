'use strict';
// economy-api is not installed: the server ends with MODULE_NOT_FOUND.
require('economy-api');
module.exports = { server () {} };
