'use strict';
// A plugin with a broken configuration: the server ends while loading it.
module.exports = { server () { throw new Error('Could not load plugin config: bad indentation at line 3'); } };
