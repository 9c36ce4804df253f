// All CUDA twins in one program, so that the compiler reads XLA's header once.

#include "arrivals.cu"
#include "blocks.cu"
#include "csr.cu"
#include "dense.cu"
#include "exponential_step.cu"
#include "fan_out.cu"
#include "lists.cu"
#include "poisson.cu"
#include "procedural.cu"
#include "procedural_late.cu"
