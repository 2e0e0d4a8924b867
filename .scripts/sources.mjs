// Which files a build step reads, and whether its outputs still belong to them.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { root } from './tools.mjs';

/** All files below a folder whose names end so, as paths from the package's folder, sorted. */
export function filesBelow(folder, ending = '') {
  const absolute = join(root, folder);
  if (!existsSync(absolute)) return [];
  return readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith(ending))
    .map(entry => relative(root, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

/** A TypeScript file and all that it imports by relative path. */
export function importsOf(entry, seen = new Set()) {
  const path = existsSync(join(root, entry)) ? entry : entry.replace(/\.js$/, '.ts');
  if (seen.has(path) || !existsSync(join(root, path))) return seen;
  seen.add(path);
  for (const [, name] of readFileSync(join(root, path), 'utf8').matchAll(/from\s+['"](\.[^'"]+)['"]/g)) {
    const target = relative(root, resolve(root, dirname(path), name));
    importsOf(/\.[jt]s$/.test(target) ? target : `${target}.ts`, seen);
  }
  return seen;
}

/**
 * A step's memory of what it last did: a hash of its inputs' names and contents, and size and time of its outputs. By
 * content, because git and cp give files the times they like; outputs too, because another tool may write them.
 */
export class Stamp {
  constructor(name, inputs, outputs) {
    this.file = join(root, 'dist', `.${name}.stamp`);
    this.inputs = inputs;
    this.outputs = outputs;
  }

  fresh() {
    return this.outputs.every(path => existsSync(join(root, path))) && existsSync(this.file)
      && readFileSync(this.file, 'utf8') === this.#describe();
  }

  write() {
    mkdirSync(dirname(this.file), { recursive: true });
    writeFileSync(this.file, this.#describe());
  }

  #describe() {
    const hash = createHash('sha256').update(`${process.platform}-${process.arch}\0`);
    for (const path of this.inputs) hash.update(`${path}\0`).update(readFileSync(join(root, path))).update('\0');
    const outputs = this.outputs.map(path => {
      const { size, mtimeMs } = statSync(join(root, path));
      return `${path} ${size} ${mtimeMs}`;
    });
    return `${hash.digest('hex')}\n${outputs.join('\n')}\n`;
  }
}

/** Deletes what tsc made from sources that are gone: it never does so itself, and they would be packed and run. */
export function pruneCompiled() {
  for (const folder of ['lib', 'bench', 'test', 'examples']) {
    for (const path of filesBelow(join('dist', folder))) {
      if (path.startsWith('dist/lib/bundle/')) continue; // made by another step
      const source = relative('dist', path).replace(/(\.d\.ts|\.js|\.js\.map)$/, '.ts');
      if (!existsSync(join(root, source))) rmSync(join(root, path));
    }
  }
}
