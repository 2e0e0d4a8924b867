/**
 * Whoever reads what a command prints may go before it is done (`pollmode doctor | head -1`): no fault of anybody's, and
 * nothing to print a stack for. What runs until it is told to end is told so; what is nearly done ends here. Nobody has to
 * read what goes to stderr.
 */
export function endWithReader(): void {
  process.stdout.on('error', error => {
    expectClosed(error);
    if (process.listenerCount('SIGTERM') === 0) process.exit();
    process.emit('SIGTERM', 'SIGTERM');
  });
  process.stderr.on('error', expectClosed);
}

function expectClosed(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
