/** What the build tells the compiler (asc --use): 1 in the build for x86-64, 0 in the one for any machine. */
declare const X86_STORE_ORDER: i32;
