#!/usr/bin/env node
import { useCompileCache } from './compile-cache.js';

useCompileCache();
const { main } = await import('../dist/program/main.js');
await main(process.argv);
