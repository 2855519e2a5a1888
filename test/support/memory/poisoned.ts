/** Loaded before every test file: memory that was given back must not be used again. */
import { watchMemory } from '../../../src/memory/pieces.ts';
import { poison } from './poison.ts';

watchMemory(poison);
