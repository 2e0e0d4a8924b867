import { connect, type Socket } from 'node:net';
import { PollmodeError, type ErrorCode } from '../errors.js';
import type { ControlAnswer, ControlRequest } from './protocol.js';

const PATIENCE_MS = 10_000;
/** Characters of an answer: 65536 flows have fewer. */
const LONGEST_ANSWER = 64 << 20;

/** Asks the switch whose control socket that is. Throws ENOTFOUND when none runs there, ENOANSWER, EFORMAT, and what the switch refuses. */
export async function askSwitch(path: string, request: ControlRequest): Promise<unknown> {
  const socket = connect(path);
  socket.setEncoding('utf8');
  try {
    const line = await lineOf(socket, path, `${JSON.stringify({ id: 1, ...request })}\n`);
    const answer = parse(line, path);
    if ('error' in answer) throw new PollmodeError(answer.error.code as ErrorCode, answer.error.message);
    return answer.answer;
  } finally {
    socket.destroy();
  }
}

function lineOf(socket: Socket, path: string, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const timer = setTimeout(() => reject(new PollmodeError('ENOANSWER', `The switch at ${path} says nothing: it is stopped or very busy; look at its process.`)), PATIENCE_MS);
    const settle = (work: () => void): void => {
      clearTimeout(timer);
      work();
    };
    socket.once('connect', () => socket.write(question));
    socket.on('data', (text: string) => {
      heard += text;
      const end = heard.indexOf('\n');
      if (end >= 0) settle(() => resolve(heard.slice(0, end)));
      else if (heard.length > LONGEST_ANSWER) settle(() => reject(new PollmodeError('EFORMAT', `The answer of ${path} has no end: is it a switch's control socket?`)));
    });
    socket.once('error', (cause: NodeJS.ErrnoException) => settle(() => reject(refusal(path, cause))));
    socket.once('close', () => settle(() => reject(new PollmodeError('ENOANSWER', `The switch at ${path} hung up without an answer: ask again.`))));
  });
}

function refusal(path: string, cause: NodeJS.ErrnoException): PollmodeError {
  switch (cause.code) {
    case 'ENOENT': return new PollmodeError('ENOTFOUND', `No switch runs here: there is no control socket ${path}. Start one with \`pollmode switch CONFIG\`, or say which with --name or --control.`, { cause });
    case 'ECONNREFUSED': return new PollmodeError('ENOTFOUND', `The switch of the control socket ${path} has died: start it again, it takes its place.`, { cause });
    case 'EACCES': case 'EPERM': return new PollmodeError('ERIGHTS', `The control socket ${path} is another user's: ask as that user, or as root.`, { cause });
    default: return new PollmodeError('ENOANSWER', `The control socket ${path} cannot be asked (${cause.code ?? cause.message}): look whether a switch runs there.`, { cause });
  }
}

function parse(line: string, path: string): ControlAnswer {
  try {
    return JSON.parse(line) as ControlAnswer;
  } catch (cause) {
    throw new PollmodeError('EFORMAT', `The answer of ${path} is no JSON: is it a switch's control socket?`, { cause });
  }
}
