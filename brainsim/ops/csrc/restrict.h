// How this compiler is told that a pointer has no alias.

#ifndef BRAINSIM_RESTRICT_H_
#define BRAINSIM_RESTRICT_H_

#if defined(__GNUC__) || defined(__clang__)
#define BRAINSIM_RESTRICT __restrict__
#else
#define BRAINSIM_RESTRICT
#endif

#endif  // BRAINSIM_RESTRICT_H_
