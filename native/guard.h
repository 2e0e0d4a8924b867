// Guards against SIGBUS inside an overlay: a device that went, a peer that truncated its file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pollmode {

// From now on a SIGBUS inside [start, start + length) replaces the page by an anonymous one and adds 1 to *flag.
// Returns an id for `DropGuard`, or 0 with errno set (ENOSPC: the table is full). Both ranges must stay mapped until
// the guard is dropped.
uint64_t AddGuard(uintptr_t start, size_t length, uint32_t* flag);
void DropGuard(uint64_t id);
// Drops every guard that lies wholly inside the range, whoever added it.
void DropGuardsInside(uintptr_t start, size_t length);
bool GuardStands(uint64_t id);

// A guard's range, for whoever asks for many addresses of one.
struct Guarded {
  uintptr_t start = 0;
  size_t length = 0;
  // Is all of [address, address + size) in this range or, if not, in another guard's? It is this range then.
  bool Holds(uintptr_t address, size_t size);
};

}  // namespace pollmode
