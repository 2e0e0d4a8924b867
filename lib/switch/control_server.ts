/**
 * The control socket of a running switch, on the event loop of the thread that polls: a request is carried out between
 * two bursts, so nothing here needs a lock, and nothing here may take long. The file is its owner's alone (mode 0600).
 * What comes is a stranger's all the same: lines have a greatest length, answers wait for their reader, and a flood of
 * requests is read as slowly as it may be asked.
 */
import { Socket } from 'node:net';
import { PollmodeError } from '../errors.js';
import { SOCK_STREAM } from '../kernel/constants.js';
import { Door } from '../kernel/door.js';
import { LONGEST_REQUEST, idOf, parseRequest, type ControlAnswer, type ControlRequest } from './protocol.js';

export interface ControlOptions {
  readonly path: string;
  /** Carries a request out; what it throws as a PollmodeError is told to whoever asked. */
  readonly answer: (request: Required<ControlRequest>) => unknown;
}

/** Terminals at once. */
const MOST_VISITORS = 16;
/** Requests of a visitor at once, and a second: each costs the switch up to a few milliseconds of its polling. */
const RATE = { burst: 20, perSecond: 20 };

/** Opened on the main thread, since it sets the umask for a moment. */
export class ControlServer {
  readonly path: string;
  readonly #answer: ControlOptions['answer'];
  readonly #door: Door;
  readonly #visitors = new Set<Visitor>();
  #closed = false;

  /** Throws EBUSYQUEUE (a switch listens there), EEXISTS (another kind of file is there), EOPTION, ERIGHTS. */
  constructor({ path, answer }: ControlOptions) {
    this.path = path;
    this.#answer = answer;
    this.#door = new Door(path, [], SOCK_STREAM);
    this.#door.watch(fd => this.#admit(fd));
  }

  /** Visitors see their connection end, after the answers that they have not read yet; the file is gone. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#door.close();
    for (const visitor of this.#visitors) visitor.dismiss();
  }

  #admit(fd: number): void {
    const visitor: Visitor = new Visitor(new Socket({ fd, readable: true, writable: true }), this.#answer, () => this.#visitors.delete(visitor));
    if (this.#visitors.size >= MOST_VISITORS) visitor.refuse(`There are ${MOST_VISITORS} terminals already: close some of them.`, 'EBUSYQUEUE');
    else this.#visitors.add(visitor);
  }
}

/** One connection. */
class Visitor {
  readonly #socket: Socket;
  readonly #answer: ControlOptions['answer'];
  #unread = '';
  #isDismissed = false;
  #tokens = RATE.burst;
  #filled = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket, answer: ControlOptions['answer'], ended: () => void) {
    this.#socket = socket;
    this.#answer = answer;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#hear(text));
    socket.on('drain', () => this.#work());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(this.#timer);
      ended();
    });
  }

  /** A last word, and the end. */
  refuse(message: string, code: string): void {
    this.#unread = '';
    this.#say({ id: 0, error: { code, message } });
    this.dismiss();
  }

  dismiss(): void {
    this.#isDismissed = true;
    clearTimeout(this.#timer);
    this.#socket.end(() => this.#socket.destroy());
    // Whoever does not read his last answer is not waited for.
    setTimeout(() => this.#socket.destroy(), 200).unref();
  }

  #hear(text: string): void {
    if (this.#isDismissed) return; // what he still says is not done
    this.#unread += text;
    this.#work();
  }

  /** Takes lines for as long as this visitor may ask and reads what he is told; then looks away from him for a while. */
  #work(): void {
    if (this.#isDismissed) return;
    this.#fill();
    let end = this.#unread.indexOf('\n');
    while (end >= 0 && this.#tokens >= 1 && !this.#socket.writableNeedDrain) {
      const line = this.#unread.slice(0, end);
      this.#unread = this.#unread.slice(end + 1);
      this.#tokens--;
      if (!this.#take(line)) return;
      end = this.#unread.indexOf('\n');
    }
    if (end < 0) this.#more();
    else this.#later();
  }

  #take(line: string): boolean {
    if (line.length > LONGEST_REQUEST) {
      this.#tooLong();
      return false;
    }
    if (line.trim() !== '') this.#say(this.#carryOut(line));
    return true;
  }

  #carryOut(line: string): ControlAnswer {
    try {
      const request = parseRequest(line);
      return { id: request.id, answer: this.#answer(request) ?? null };
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
      return { id: idOf(line), error: { code: cause.code, message: cause.message } };
    }
  }

  /** All lines are taken: the rest is the front of one. */
  #more(): void {
    if (this.#unread.length > LONGEST_REQUEST) this.#tooLong();
    else this.#socket.resume();
  }

  #later(): void {
    this.#socket.pause();
    if (this.#socket.writableNeedDrain) return; // his 'drain' is what is waited for
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#work();
    }, 1000 / RATE.perSecond);
  }

  #tooLong(): void {
    this.refuse(`A request has at most ${LONGEST_REQUEST} characters: write { "id": 1, "request": "show" }, one on a line.`, 'EFORMAT');
  }

  #fill(): void {
    const now = performance.now();
    this.#tokens = Math.min(RATE.burst, this.#tokens + (now - this.#filled) / 1000 * RATE.perSecond);
    this.#filled = now;
  }

  #say(answer: ControlAnswer): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(answer)}\n`);
  }
}
